export default async function globalTeardown() {
  await globalThis.embeddedServer?.stop();
}
