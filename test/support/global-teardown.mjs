export default async function globalTeardown() {
  await Promise.all((globalThis.embeddedServers ?? []).map((server) => server.stop()));
}
