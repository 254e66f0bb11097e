/**
 * TypeORM's DataSource and metadata as far as they are read here, by shape: the package need not be installed, and the copy
 * of it that an application uses need not be the one that is found from here.
 */
export interface DataSourceShape {
  readonly isInitialized: boolean;
  readonly options: { readonly type: string; readonly name?: string };
  readonly driver: object;
  readonly manager: unknown;
  readonly entityMetadatas: readonly EntityShape[];
  hasMetadata(target: any): boolean;
  getMetadata(target: any): EntityShape;
  query(text: string, values?: any[]): Promise<any>;
}

/** One entity: its class and its table. */
export interface EntityShape {
  readonly name: string;
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type
  readonly target: Function | string;
  readonly tableName: string;
  readonly schema?: string;
  readonly tablePath: string;
  readonly tableType: string;
  readonly isJunction: boolean;
  readonly columns: readonly ColumnShape[];
  readonly primaryColumns: readonly ColumnShape[];
  readonly relations: readonly RelationShape[];
  readonly closureJunctionTable?: EntityShape;
}

export interface ColumnShape {
  readonly propertyPath: string;
  readonly databaseName: string;
  readonly isVirtualProperty: boolean;
}

export interface RelationShape {
  readonly isWithJoinColumn: boolean;
  readonly joinColumns: readonly ColumnShape[];
  readonly junctionEntityMetadata?: EntityShape;
}

/** Whether an object is a TypeORM DataSource. */
export function isDataSource(candidate: unknown): candidate is DataSourceShape {
  return (
    typeof candidate === 'object' &&
    candidate !== null &&
    'isInitialized' in candidate &&
    'driver' in candidate &&
    'manager' in candidate &&
    Array.isArray((candidate as { entityMetadatas?: unknown }).entityMetadatas)
  );
}
