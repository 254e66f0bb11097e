export { type ContractClient, type StoreHost } from './contract/store-host.js';
export { storeContract, type ContractCase, type StoreContract } from './store-contract.js';
