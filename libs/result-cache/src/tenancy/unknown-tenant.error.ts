import { MissingTenantError } from '../core/errors.js';

/** The request names a tenant that `knownTenant` does not know. A `MissingTenantError`, so that whoever catches that one catches both. */
export class UnknownTenantError extends MissingTenantError {}
