package ec2standin

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Error codes of which EC2's documentation and behaviour know two.
const (
	// CodeRouteTableNotFound and CodeRouteTableNotFoundAlt both occur for a
	// route table that does not exist.
	CodeRouteTableNotFound    = "InvalidRouteTableID.NotFound"
	CodeRouteTableNotFoundAlt = "InvalidRouteTableId.NotFound"

	// CodePrefixListNotFound and CodePrefixListNotFoundAlt both occur for a
	// prefix list that does not exist.
	CodePrefixListNotFound    = "InvalidPrefixListID.NotFound"
	CodePrefixListNotFoundAlt = "InvalidPrefixListId.NotFound"

	// CodeReplaceMissing is what EC2 answers to ReplaceRoute of a destination
	// the table does not have ("There is no route defined for '…' in the route
	// table. Use CreateRoute instead."). CodeRouteNotFound is what it answers
	// to DeleteRoute, and what one would expect of ReplaceRoute as well.
	CodeReplaceMissing = "InvalidParameterValue"
	CodeRouteNotFound  = "InvalidRoute.NotFound"
)

// Config is what does not change during a server's life. The zero value is
// usable.
type Config struct {
	Region                 string // default: us-west-2
	AccountID              string // default: 123456789012
	RoutesPerTable         int    // quota per table and address family, local routes not counted; default: 50
	RouteTableNotFoundCode string // default: CodeRouteTableNotFound
	PrefixListNotFoundCode string // default: CodePrefixListNotFound
	ReplaceMissingCode     string // default: CodeReplaceMissing
	Seed                   uint64 // of the random choices among faults
	CallLogSize            int    // calls kept; default: 65536

	// PrefixListDuration is for how long a list that a client creates,
	// modifies or deletes is in progress: the change takes effect at the end,
	// until then others are refused. Zero: the answer says "in progress", but
	// the change has taken effect when it comes.
	PrefixListDuration time.Duration
	// ReferencedListCode is the error code for deleting a prefix list that
	// routes lead to. Empty: the call succeeds, and the list then gets the
	// state delete-failed, which is what has been seen of EC2.
	ReferencedListCode string
}

func (c Config) withDefaults() Config {
	c.Region = orElse(c.Region, "us-west-2")
	c.AccountID = orElse(c.AccountID, "123456789012")
	c.RoutesPerTable = orElse(c.RoutesPerTable, 50)
	c.RouteTableNotFoundCode = orElse(c.RouteTableNotFoundCode, CodeRouteTableNotFound)
	c.PrefixListNotFoundCode = orElse(c.PrefixListNotFoundCode, CodePrefixListNotFound)
	c.ReplaceMissingCode = orElse(c.ReplaceMissingCode, CodeReplaceMissing)
	c.CallLogSize = orElse(c.CallLogSize, 65536)
	return c
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Server is a stand-in for the EC2 API of one account in one region. It is an
// http.Handler, safe for concurrent use, and has no goroutine of its own
// except one per Subscribe, and for an instant when a change of a prefix list
// ends.
type Server struct {
	config     Config
	actions    map[string]action
	signature  *regexp.Regexp
	faults     faultBox
	identities identities
	calls      callLog

	listDuration atomic.Int64 // a time.Duration

	// Readers load head; writers hold write, and publish a new head. A state,
	// once published, never changes.
	head     atomic.Pointer[head]
	write    sync.Mutex
	watchers []*watcher // guarded by write

	history struct {
		sync.Mutex
		entries []entry // oldest first; the last is the head
	}
}

type head struct {
	state      *state
	superseded chan struct{} // closed when there is a newer head
}

// entry is a state and since when it has been the truth.
type entry struct {
	since time.Time
	state *state
}

// New makes a server with an empty world.
func New(c Config) *Server {
	c = c.withDefaults()
	s := &Server{config: c, actions: actions(), signature: signature()}
	s.faults.rand = rand.New(rand.NewPCG(c.Seed, c.Seed))
	s.calls.size, s.calls.counts = c.CallLogSize, map[string]int{}
	s.listDuration.Store(int64(c.PrefixListDuration))
	st := &state{}
	s.head.Store(&head{state: st, superseded: make(chan struct{})})
	s.history.entries = []entry{{state: st}}
	return s
}

// partition is what the region belongs to, the second part of every ARN.
func (s *Server) partition() string {
	switch {
	case strings.HasPrefix(s.config.Region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(s.config.Region, "us-gov-"):
		return "aws-us-gov"
	default:
		return "aws"
	}
}

// arn names a thing of this account and region, for example "route-table" and
// its id.
func (s *Server) arn(kind, id string) string {
	return fmt.Sprintf("arn:%s:ec2:%s:%s:%s/%s", s.partition(), s.config.Region, s.config.AccountID, kind, id)
}

// Region returns the region the server stands for.
func (s *Server) Region() string { return s.config.Region }

// commit runs f on a copy of the world and publishes the copy, unless f fails.
func (s *Server) commit(f func(*state) error) error {
	s.write.Lock()
	defer s.write.Unlock()
	old := s.head.Load()
	st := old.state.clone()
	if err := f(st); err != nil {
		return err
	}
	st.revision++
	s.remember(st)
	s.head.Store(&head{state: st, superseded: make(chan struct{})})
	close(old.superseded)
	for _, w := range s.watchers {
		w.f(st.snapshot())
	}
	return nil
}

// change is commit for the methods of the Go API.
func (s *Server) change(f func(*state) error) error {
	if err := s.commit(f); err != nil {
		return fmt.Errorf("ec2standin: %w", err)
	}
	return nil
}

// remember adds a state to the history and forgets what no stale read can ask
// for any more: what had a successor before the oldest moment to be read.
func (s *Server) remember(st *state) {
	oldest := time.Now().Add(-s.faults.staleness())
	s.history.Lock()
	defer s.history.Unlock()
	e := append(s.history.entries, entry{since: time.Now(), state: st})
	first := 0
	for first+1 < len(e) && !e[first+1].since.After(oldest) {
		first++
	}
	s.history.entries = slices.Clone(e[first:])
}

// read returns the world as it was some time ago, as far back as is known.
func (s *Server) read(ago time.Duration) *state {
	if ago == 0 {
		return s.head.Load().state
	}
	at := time.Now().Add(-ago)
	s.history.Lock()
	defer s.history.Unlock()
	e := s.history.entries
	for i := len(e) - 1; i > 0; i-- {
		if !e[i].since.After(at) {
			return e[i].state
		}
	}
	return e[0].state
}
