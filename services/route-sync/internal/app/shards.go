package app

import (
	"context"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/route-sync/internal/config"
	"github.com/hybridgateway/gateway/services/route-sync/internal/ec2"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/services/route-sync/internal/syncer"
)

// updates are what election says, in one channel for each shard.
type updates struct {
	in  []chan<- feed.Update[plan.Leadership]
	out []<-chan feed.Update[plan.Leadership]
}

// newShards makes a loop for each shard, with a client of its own. What they tell goes into one stream.
func newShards(ctx context.Context, c config.Config, self ec2.Identity, clients []*ec2.Client, s *server, t *telemetry.Telemetry, m *syncer.Metrics) (*syncer.Shards, updates) {
	found := func(p plan.Config) plan.Config {
		p.Interface, p.Region, p.Parallel = self.Interface, self.Region, parallel
		return p
	}
	shards, leadership := &syncer.Shards{Whole: found(c.Plan())}, updates{}
	for i, p := range c.Plans() {
		s.awaitRead(p.Shard)
		shards.Loops = append(shards.Loops, syncer.New(ctx, syncer.Config{
			Plan:     found(p),
			Self:     syncer.Interface{ID: self.Interface, Region: self.Region, Zone: self.Zone},
			EC2:      clients[i],
			Now:      boottime.Now,
			Publish:  s.publish,
			Retract:  s.retract,
			Readable: func(failure string) { s.readable(p.Shard, failure) },
			Log:      t.Log,
			Tracer:   t.Tracer,
			Metrics:  m,
		}))
		channel := make(chan feed.Update[plan.Leadership], queue)
		leadership.in, leadership.out = append(leadership.in, channel), append(leadership.out, channel)
	}
	return shards, leadership
}
