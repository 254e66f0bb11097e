/** Absolute path of the folder with the `.sql` files. */
declare const folder: string;
export = folder;
