#!/usr/bin/env node
import { program } from './program.js';

program()
  .parseAsync()
  .catch((error: Error) => {
    console.error(`result-cache: ${error.message}`);
    process.exitCode = 1;
  });
