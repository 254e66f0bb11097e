import { Command } from 'commander';
import { sqlCommand } from './sql.command.js';

/** `npx result-cache`: one command per file of this folder. `print` gets what a command answers with. */
export function program(print: (text: string) => void = (text) => void process.stdout.write(text)): Command {
  return new Command('result-cache')
    .description('Result caching in the PostgreSQL that is already there.')
    .addCommand(sqlCommand(print));
}
