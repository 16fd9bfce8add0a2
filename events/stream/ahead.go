package stream

import "iter"

// groupsAhead bounds what [Ahead] has read and nobody has taken: with the largest
// groups some tens of megabytes.
const groupsAhead = 4

// Ahead hands out what groups yields, which a goroutine of its own reads and decodes
// a little ahead: whoever folds a long stream uses two processors. It ends with
// whoever takes the groups.
func Ahead(groups iter.Seq2[Stored, error]) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		type element struct {
			Stored
			err error
		}
		read, stop := make(chan element, groupsAhead), make(chan struct{})
		go func() {
			defer close(read)
			for g, err := range groups {
				select {
				case read <- element{g, err}:
				case <-stop:
					return
				}
			}
		}()
		defer func() { // nothing of the stream is used any more when this returns
			close(stop)
			for range read {
			}
		}()
		for e := range read {
			if !yield(e.Stored, e.err) {
				return
			}
		}
	}
}
