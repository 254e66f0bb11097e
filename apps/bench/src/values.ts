/** A value as an API would return it, of about so many bytes of JSON. */
export function valueOf(bytes: number, index: number): Record<string, unknown> {
  const value = {
    id: index,
    name: `User ${index}`,
    email: `user${index}@example.com`,
    active: index % 2 === 0,
    score: index / 7,
    roles: ['reader', 'editor'],
    profile: { city: 'Somewhere', country: 'XX', bio: '' },
  };
  const room = bytes - JSON.stringify(value).length;
  if (room < 0) return { id: index, name: `User ${index}`, roles: ['reader'] };
  if (room < 2_000) return { ...value, profile: { ...value.profile, bio: 'x'.repeat(room) } };
  // Large values are lists, as pages of results are.
  const item = (at: number): object => ({ id: at, title: `Post ${at}`, excerpt: 'x'.repeat(100), published: true });
  return { ...value, posts: Array.from({ length: Math.round(room / 155) }, (_, at) => item(at)) };
}

export function valuesOf(bytes: number, count: number): Map<string, Record<string, unknown>> {
  return new Map(Array.from({ length: count }, (_, index) => [`user:${bytes}:${index}`, valueOf(bytes, index)]));
}
