import { Module } from '@nestjs/common';
import { CacheModule } from 'nestjs-result-cache';
import { ENTITIES } from '../database/data-source.js';
import { DashboardResolver } from './dashboard.resolver.js';
import { DashboardService } from './dashboard.service.js';

@Module({
  // Its SQL reads all of them; those that other modules watch too are watched once.
  imports: [CacheModule.forFeature({ watch: ENTITIES })],
  providers: [DashboardService, DashboardResolver],
})
export class DashboardModule {}
