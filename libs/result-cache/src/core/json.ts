/** Data as JSON, a bigint as the text of its digits, which PostgreSQL reads where it expects a number. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each));
}
