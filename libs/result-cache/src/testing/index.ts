export {
  assertDependencies,
  UndeclaredDependencyError,
  type AssertDependenciesOptions,
  type AssertDependenciesTarget,
} from './assert-dependencies.js';
export { type ContractClient, type StoreHost } from './contract/store-host.js';
export { storeContract, type ContractCase, type StoreContract } from './store-contract.js';
