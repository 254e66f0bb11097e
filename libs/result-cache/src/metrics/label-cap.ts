const LONGEST = 200;

/**
 * Keeps a label from growing without end: every value of a label is a time series that lives as long as the process.
 * The first so many values stand for themselves, the rest is `other`, as in `getStats().views`.
 */
export class LabelCap {
  private readonly seen = new Set<string>();

  constructor(private readonly most: number) {}

  /** The value itself, or `other` where it would be one too many or is longer than any name. */
  label(value: string): string {
    if (this.seen.has(value)) return value;
    if (this.seen.size >= this.most || value.length > LONGEST) return 'other';
    this.seen.add(value);
    return value;
  }
}
