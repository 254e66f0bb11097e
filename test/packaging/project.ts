import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { run, succeed } from './command.js';

const manifestOf = (path: string) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as Manifest;

/** The parts of a `package.json` that are looked at here. */
export interface Manifest {
  type: string;
  exports: Record<string, string | { types: string; default: string }>;
  files: string[];
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
  peerDependenciesMeta: Record<string, { optional: boolean }>;
}

/** The manifest of the package, as it stands in the repository. */
export const manifest = manifestOf('../../libs/result-cache/package.json');

const workspace = manifestOf('../../package.json').devDependencies;

/** Of these packages, the versions that the workspace itself uses. */
export function workspaceVersions(...names: string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, workspace[name]!]));
}

/** How one build of a project is configured. */
export interface BuildOptions {
  /** Of the `package.json` beside the sources. */
  type: 'module' | 'commonjs';
  /** Compiler options beside those of `nest new`. */
  compilerOptions: Record<string, unknown>;
  /** What to compile: texts by file name. */
  files: Record<string, string>;
}

/** An empty folder far from the workspace, with the packed package and others installed as anybody would. */
export class Project {
  private constructor(readonly folder: string) {}

  /** @throws Error with all that npm printed, if it fails. */
  static async install(dependencies: Record<string, string>): Promise<Project> {
    const project = new Project(await mkdtemp(join(tmpdir(), 'result-cache-project-')));
    const all = { 'nestjs-result-cache': `file:${process.env.PACKAGE_TARBALL}`, ...dependencies };
    await project.write('package.json', { name: 'empty', private: true, dependencies: all });
    const install = succeed(
      'npm',
      ['install', '--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock'],
      project.folder,
    );
    await install.catch(async (error: Error) => {
      await project.remove();
      throw error;
    });
    return project;
  }

  /** Names of all packages that were installed, wherever npm put them. */
  async installed(): Promise<string[]> {
    const output = await succeed('npm', ['ls', '--all', '--parseable'], this.folder);
    return output.split('\n').flatMap((path) => path.split('node_modules/').at(-1) ?? []);
  }

  /**
   * Compile in a folder of its own, with the declarations of the package checked as well as the project's own files.
   * @returns the folder; what was compiled is in its `dist`
   * @throws Error with the compiler's complaints about the project or the package; those about other packages are theirs.
   */
  async build(name: string, { type, compilerOptions, files }: BuildOptions): Promise<string> {
    const folder = join(this.folder, name);
    await this.write(`${name}/package.json`, { name, private: true, type });
    await this.write(`${name}/tsconfig.json`, {
      compilerOptions: {
        target: 'es2023',
        strict: true,
        emitDecoratorMetadata: true,
        experimentalDecorators: true,
        skipLibCheck: false,
        types: ['node'],
        rootDir: 'src',
        outDir: 'dist',
        ...compilerOptions,
      },
      include: ['src'],
    });
    for (const [file, text] of Object.entries(files)) await this.write(`${name}/src/${file}`, text);
    const { output } = await run(join(this.folder, 'node_modules', '.bin', 'tsc'), ['--pretty', 'false'], folder);
    const complaints = output
      .split('\n')
      .filter((line) => /\berror TS\d+:/.test(line))
      .filter((line) => !line.includes('node_modules/') || line.includes('node_modules/nestjs-result-cache/'));
    if (complaints.length > 0) throw new Error(`tsc in ${name}:\n${complaints.join('\n')}`);
    if (!(await readdir(folder)).includes('dist')) throw new Error(`tsc in ${name} wrote nothing:\n${output}`);
    return folder;
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Write a file; an object as JSON. */
  async write(path: string, content: string | object): Promise<void> {
    const file = join(this.folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
  }
}
