import { BadRequestException } from '@nestjs/common';

/** A page of a list, checked. */
export interface Page {
  limit: number;
  offset: number;
}

export const DEFAULT_LIMIT = 20;
export const MAX_LIMIT = 100;
const MAX_INT = 2_147_483_647;

/**
 * Check `limit` (1 to 100, default 20) and `offset` (from 0, default 0), as numbers from GraphQL or as text from a URL.
 *
 * @throws BadRequestException that names the argument and what it may be.
 */
export function readPage(limit: unknown, offset: unknown): Page {
  return {
    limit: readInt('limit', limit ?? DEFAULT_LIMIT, 1, MAX_LIMIT),
    offset: readInt('offset', offset ?? 0, 0, MAX_INT),
  };
}

/**
 * Check the id of a row.
 *
 * @throws BadRequestException unless it is a whole number that an `int` key can hold.
 */
export function readId(name: string, value: unknown): number {
  return readInt(name, value, 1, MAX_INT);
}

/**
 * Check a text: trimmed, not empty, at most `maxLength` characters.
 *
 * @throws BadRequestException, also for the one character (NUL) that PostgreSQL text cannot hold.
 */
export function readText(name: string, value: string, maxLength: number): string {
  const text = value.trim();
  if (text === '') throw new BadRequestException(`${name}: is empty`);
  if (text.length > maxLength) {
    throw new BadRequestException(`${name}: has ${text.length} characters; ${maxLength} are allowed`);
  }
  if (text.includes('\0')) throw new BadRequestException(`${name}: contains the character U+0000; leave it out`);
  return text;
}

/**
 * Check an e-mail address, loosely: only its owner can tell whether it is right.
 *
 * @throws BadRequestException
 */
export function readEmail(name: string, value: string): string {
  const email = readText(name, value, 254);
  if (!/^[^\s@]+@[^\s@]+$/.test(email)) {
    throw new BadRequestException(`${name}: ${quote(email)} is not an e-mail address; write it like ada@example.com`);
  }
  return email;
}

function readInt(name: string, value: unknown, min: number, max: number): number {
  // Only plain digits: Number() would also take '', '1e2', ' 7 ' and '0x10'.
  const number = typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= min && number <= max) return number;
  throw new BadRequestException(`${name}: ${quote(value)} is not a whole number from ${min} to ${max}`);
}

function quote(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 60);
}
