package feed

// Mirror is a follower's copy of what a server publishes. It is for one goroutine.
type Mirror[V any] struct {
	// Items are the last known items by their keys. They stay when the stream is lost.
	Items map[string]V
	// Connected tells whether the stream is up and its snapshot complete.
	Connected bool
	// Lost says why the stream is down; nil before the first attempt ended.
	Lost     error
	Position Position
}

// Apply takes an update over.
func (m *Mirror[V]) Apply(u Update[V]) {
	switch {
	case u.Snapshot != nil:
		m.Items, m.Connected, m.Lost = u.Snapshot, true, nil
	case u.Connected:
		m.Connected, m.Lost = true, nil
	case u.Lost != nil:
		m.Connected, m.Lost = false, u.Lost
		return // where the stream stands is not news of the items
	case u.Change.Kind == Delete:
		delete(m.Items, u.Change.Key)
	default:
		m.Items[u.Change.Key] = u.Change.Value
	}
	m.Position = u.Position
}

// Synced tells whether a whole snapshot has ever arrived.
func (m *Mirror[V]) Synced() bool { return m.Items != nil }
