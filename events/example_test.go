package events_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/meterseal/meterseal/events"
)

// A meter is declared, an event read against the declaration.
func Example() {
	meters, err := events.NewMeters([]events.Meter{
		{ID: "storage.written", Unit: "GB", Scale: 3, Aggregation: events.Sum},
	})
	if err != nil {
		log.Fatal(err)
	}
	p := &events.Parser{Meters: meters}

	node, evs, err := p.Parse(events.Input{Node: "n1", Data: []byte(`{"id":"w-7","meter":"storage.written","quantity":1.25,"user":"ana"}`)}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(node, evs[0].ID, evs[0].Quantity, evs[0].Detail.User)

	// A refusal says what is wrong, and the way out.
	_, _, err = p.Parse(events.Input{Node: "n1", Data: []byte(`{"meter":"storage.written","quantity":0.0625}`)}, nil)
	var refused *events.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Status(), refused)
		fmt.Println(refused.Hint)
	}
	// Output:
	// n1 w-7 1250 ana
	// 422 bad_quantity: quantity "0.0625" has more than the 3 decimals of its meter
	// round it in the application, or declare a new meter with a larger scale
}

// A numbered batch, as the Go package meter sends it.
func ExampleAppendBatch() {
	batch := &events.Batch{Epoch: 1793700800000, First: 41, Events: []events.Event{
		{Meter: "render.pages", TimeMS: 1793700903000, Quantity: 12},
		{Meter: "render.pages", TimeMS: 1793700903500, Quantity: 3},
	}}
	data, err := events.AppendBatch(nil, batch, 1793700903000, true)
	if err != nil {
		log.Fatal(err)
	}
	h, err := events.ParseBatchHeader(data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes: events %d to %d of epoch %d\n", len(data), h.First, h.First+uint64(h.Count)-1, h.Epoch)
	// Output:
	// 64 bytes: events 41 to 42 of epoch 1793700800000
}
