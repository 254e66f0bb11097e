/** When each version of each row was acknowledged to this process, by `performance.now()`. Versions grow by one from 0. */
export class Ledger {
  private readonly times = new Map<number, number[]>();
  private readonly latestVersions = new Map<number, number>();

  enter(id: number, version: number): void {
    let times = this.times.get(id);
    if (times === undefined) this.times.set(id, (times = []));
    times[version] = performance.now();
    this.latestVersions.set(id, Math.max(this.latest(id), version));
  }

  /** The highest version acknowledged so far; 0 where there was none. */
  latest(id: number): number {
    return this.latestVersions.get(id) ?? 0;
  }

  /**
   * When somebody was first told of a version above this one. A later version may be acknowledged before an earlier one
   * that was committed before it; then that is the moment. `Infinity`: nobody was.
   */
  firstAfter(id: number, version: number): number {
    const later = this.times.get(id)?.slice(version + 1) ?? [];
    // Versions that are not acknowledged yet are holes, which `reduce` passes over.
    return later.reduce((first, time) => Math.min(first, time), Infinity);
  }
}
