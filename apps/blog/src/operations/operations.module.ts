import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { CacheHealthModule } from 'nestjs-result-cache/health';
import { CacheMetricsModule } from 'nestjs-result-cache/metrics';
import { CacheStatsController } from './cache-stats.controller.js';
import { HealthController } from './health.controller.js';

/** What operators look at: `/health`, `/metrics`, `/cache/stats`. */
@Module({
  imports: [TerminusModule, CacheHealthModule, CacheMetricsModule.forRoot()],
  controllers: [HealthController, CacheStatsController],
})
export class OperationsModule {}
