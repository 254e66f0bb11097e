/** The customers of this blog. A real application would ask a table; the rest of the code would stay as it is. */
export const TENANTS = ['acme', 'globex', 'initech'] as const;

export type Tenant = (typeof TENANTS)[number];

export function isTenant(value: unknown): value is Tenant {
  return TENANTS.some((tenant) => tenant === value);
}
