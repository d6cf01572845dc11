package boottime

import (
	"testing"
	"time"
)

func TestNowFollowsElapsedTime(t *testing.T) {
	start, before := time.Now(), Now()
	for Now() < before+5*time.Millisecond {
	}
	if elapsed := time.Since(start); elapsed < 4*time.Millisecond {
		t.Errorf("CLOCK_BOOTTIME advanced 5ms while the monotonic clock advanced %v", elapsed)
	}
}
