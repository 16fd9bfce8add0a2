// Package projections folds the groups of the stream into what a site knows:
// totals, open windows, the records of the ledger, duplicates, nodes.
//
// The guarantee: [State.Apply] is a pure function of the groups, so the same
// stream gives the same records, roots and totals on every run and on every
// replica. All that a group changes is committed in one batch of Pebble with
// the cursor, and that is why a replay after a crash counts once. A checkpoint
// is signed only for what is already on disk ([Store.Sync]), so no size ever
// gets two roots.
//
// The limit: a store believes its own disk. [Store.Check] recomputes everything
// from the records and from the raw events that the stream still has; what was
// never in the stream it cannot miss.
//
// This is the only package that imports Pebble. Time enters through the groups.
// The keys are drawn in docs/formats/store.md.
package projections
