/** What to type into another terminal, once the blog is served. */
export function tryIt(url: string, databaseUrl: string, showDatabaseUrl: boolean): string {
  // A URL from DATABASE_URL may hold a real password; the reader knows that URL anyway.
  const psql = showDatabaseUrl ? `psql '${databaseUrl}'` : 'psql "$DATABASE_URL"';
  return `
The blog is served at ${url} for the tenants acme, globex and initech.

GraphQL:
  curl -s ${url}/graphql -H 'x-tenant-id: acme' -H 'content-type: application/json' \\
    -d '{"query":"{ dashboard { totalUsers totalPosts totalComments averagePostLength postsLast24h topAuthors { name postCount } } }"}'
  curl -s ${url}/graphql -H 'x-tenant-id: acme' -H 'content-type: application/json' \\
    -d '{"query":"{ posts(limit: 3) { title createdAt author { name } comments(limit: 2) { body author { name } } } }"}'

REST:
  curl -s -H 'x-tenant-id: acme' '${url}/posts?authorId=1&limit=3'
  curl -s -H 'x-tenant-id: acme' ${url}/posts/1
  curl -s -H 'x-tenant-id: acme' ${url}/users/1

Ask twice and look at the header Cache-Status:
  curl -si -H 'x-tenant-id: acme' ${url}/users/1 | grep -i cache-status

Change a row behind the application's back, and ask again:
  ${psql} -c "UPDATE users SET name = 'Grace Hopper' WHERE id = 1"

For operators:
  curl -s ${url}/cache/stats
  curl -s ${url}/metrics
  curl -s ${url}/health

Stop with Ctrl-C.
`;
}
