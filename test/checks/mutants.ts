import { TouchMemory } from '../../libs/result-cache/src/core/touch-memory.js';
import { MemoryTier } from '../../libs/result-cache/src/core/memory-tier.js';
import { FillQueue } from '../../libs/result-cache/src/core/fill-queue.js';
export function applyMutant(_name: string | undefined): void {
  const count: Record<string, number> = {};
  const c = (k: string) => (count[k] = (count[k] ?? 0) + 1);
  const j = TouchMemory.prototype.judge;
  TouchMemory.prototype.judge = function (...a) {
    const v = j.apply(this, a);
    c('judge ' + v);
    if (v === 'void' && false)
      console.log(JSON.stringify(a), JSON.stringify((this as any).floor), (this as any).horizon);
    return v;
  };
  const k = MemoryTier.prototype.keep;
  MemoryTier.prototype.keep = function (...a) {
    c('keep');
    return k.apply(this, a);
  };
  const h = MemoryTier.prototype.has;
  MemoryTier.prototype.has = function (...a) {
    const r = h.apply(this, a);
    c('has ' + r);
    return r;
  };
  const f = FillQueue.prototype.add;
  FillQueue.prototype.add = async function (...a) {
    const r = await f.apply(this, a);
    c('fill ' + (r !== null));
    return r;
  };
  setTimeout(() => console.log(count), 3500);
}
