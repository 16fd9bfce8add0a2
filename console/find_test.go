package console_test

import (
	"context"

	"github.com/meterseal/meterseal/projections"
)

// noProofs stands for the stream where only its routes matter.
type noProofs struct{}

func (noProofs) Find(context.Context, projections.EventSearch) (projections.EventsFound, error) {
	return projections.EventsFound{}, nil
}

func (noProofs) Prove(context.Context, uint64, uint64, bool) ([]byte, error) {
	return nil, projections.ErrNotFound
}
