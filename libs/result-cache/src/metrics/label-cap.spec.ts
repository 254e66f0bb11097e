import { describe, expect, it } from '@jest/globals';
import { LabelCap } from './label-cap.js';

describe('LabelCap', () => {
  it('keeps the first values apart and puts the rest together', () => {
    const cap = new LabelCap(2);
    expect(['a', 'b', 'c', 'a', 'd'].map((value) => cap.label(value))).toEqual(['a', 'b', 'other', 'a', 'other']);
  });

  it('takes nothing for a name that is longer than names are', () => {
    const cap = new LabelCap(2);
    expect(cap.label('x'.repeat(201))).toBe('other');
    expect([cap.label('a'), cap.label('b')]).toEqual(['a', 'b']);
  });
});
