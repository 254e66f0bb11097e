export {
  storeContract,
  type ContractCase,
  type ContractClient,
  type StoreContract,
  type StoreHost,
} from './store-contract.js';
