import { extensionDirectory } from '@workspace/embedded-server';
import { extensionScripts, writeExtension } from '../../libs/result-cache/scripts/build-extension.mjs';

let provided: Promise<void> | undefined;

/** Where the server under test looks for extensions: `TEST_EXTENSION_DIRECTORY`, or the embedded server's share folder. */
export async function serverExtensionDirectory(): Promise<string> {
  return process.env.TEST_EXTENSION_DIRECTORY ?? (await extensionDirectory());
}

/** Put the extension, generated from the migrations as they are now, where the server finds it. */
export async function provideExtension(scripts?: Record<string, string>): Promise<void> {
  const place = async (): Promise<void> => writeExtension(await serverExtensionDirectory(), scripts);
  // Once per spec file is enough for the real one; every worker writes the same text.
  if (scripts !== undefined) await place();
  else await (provided ??= place());
}

export { extensionScripts };
