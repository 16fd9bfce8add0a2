package meter

import (
	"sync"
	"time"
)

// seldom keeps a cause that comes again and again from filling the log of the
// application: each is said once a minute.
type seldom struct {
	mu   sync.Mutex
	said map[string]time.Time // when, by cause
}

// seldomCauses is how many causes are said in a minute.
const seldomCauses = 100

// say tells whether to say cause now.
func (s *seldom) say(cause string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, at := range s.said {
		if now.Sub(at) >= time.Minute {
			delete(s.said, c)
		}
	}
	if _, ok := s.said[cause]; ok || len(s.said) >= seldomCauses {
		return false
	}
	if s.said == nil {
		s.said = map[string]time.Time{}
	}
	s.said[cause] = now
	return true
}
