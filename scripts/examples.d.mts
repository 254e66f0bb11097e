export function examplesOf(text: string): Map<string, string>;
export function withExamples(page: string, readSpec: (path: string) => string): Promise<string>;
export function coverage(page: string, readSpec: (path: string) => string): { shown: string[]; tested: string[] };
export function pages(): { name: string; text: string }[];
export function readFromRoot(path: string): string;
export function declarationOf(text: string, wanted: string): string;
