package lease

// Watched is the newest version that the watch told.
func (l *Lease) Watched() uint64 { return l.watched.Load() }
