package web_test

import (
	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/ledger"
)

// holds tells whether a record stands under the checkpoint that came with it.
func holds(p console.RecordProof) error {
	cp, err := ledger.ParseCheckpoint([]byte(p.Checkpoint))
	if err != nil {
		return err
	}
	var proof []ledger.Hash
	for _, s := range p.Proof {
		h, err := ledger.ParseHash(s)
		if err != nil {
			return err
		}
		proof = append(proof, h)
	}
	return ledger.CheckInclusion(ledger.LeafHash([]byte(p.Line)), p.Record, cp.Size, cp.Root, proof)
}
