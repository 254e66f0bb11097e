/** The smallest of these values that so large a part of them does not exceed. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]!;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
