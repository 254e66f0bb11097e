import { Controller, Get } from '@nestjs/common';
import { CacheService, type CacheStats } from 'nestjs-result-cache';

@Controller('cache')
export class CacheStatsController {
  constructor(private readonly cache: CacheService) {}

  /** Hits and misses are those of this process; entries and sizes are those of the table, which all processes share. */
  @Get('stats')
  stats(): Promise<CacheStats> {
    return this.cache.getStats();
  }
}
