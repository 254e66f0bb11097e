export {
  CachedRepository,
  type CachedRepositoryOptions,
  type FindOptions,
  type RepositorySource,
} from './cached-repository.js';
export { type Filters } from './select.js';
