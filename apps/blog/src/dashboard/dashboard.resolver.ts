import { Int, Query, ResolveField, Resolver } from '@nestjs/graphql';
import { Dashboard } from './dashboard.model.js';
import { DashboardService } from './dashboard.service.js';

@Resolver(() => Dashboard)
export class DashboardResolver {
  constructor(private readonly dashboards: DashboardService) {}

  @Query(() => Dashboard)
  dashboard(): Promise<Dashboard> {
    return this.dashboards.summary();
  }

  @ResolveField(() => Int)
  postsLast24h(): Promise<number> {
    return this.dashboards.postsLast24Hours();
  }
}
