/** The customers of this blog. A real application would ask a table; the rest of the code would stay as it is. */
export const TENANTS = ['acme', 'globex', 'initech'] as const;

/** Which of them a request is for. */
export const TENANT_HEADER = 'x-tenant-id';

export type Tenant = (typeof TENANTS)[number];

export function isTenant(value: unknown): value is Tenant {
  return TENANTS.some((tenant) => tenant === value);
}
