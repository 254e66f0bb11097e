import { transform } from '@swc/core';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const packages = {
  'nestjs-result-cache': new URL('libs/result-cache/src/index.ts', root),
  '@workspace/embedded-server': new URL('libs/embedded-server/src/index.ts', root),
};

export async function resolve(specifier, context, next) {
  const own = packages[specifier];
  if (own) return { url: own.href, shortCircuit: true };
  const subpath = /^nestjs-result-cache\/(\w+)$/.exec(specifier)?.[1];
  if (subpath) return { url: new URL(`libs/result-cache/src/${subpath}/index.ts`, root).href, shortCircuit: true };
  if (specifier.startsWith('.') && specifier.endsWith('.js') && context.parentURL) {
    const source = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
    if (existsSync(source)) return { url: source.href, shortCircuit: true };
  }
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const { code } = await transform(await readFile(fileURLToPath(url), 'utf8'), {
    filename: fileURLToPath(url),
    swcrc: false,
    sourceMaps: 'inline',
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
      keepClassNames: true,
    },
    module: { type: 'es6' },
  });
  return { format: 'module', source: code, shortCircuit: true };
}
