package meter_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/meterseal/meterseal/meter"
)

// An application that counts pages. There is no daemon here, and it does not
// wait for one: what it recorded is in the spool, and the next start sends it.
func Example() {
	dir, err := os.MkdirTemp("", "meter")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	m, err := meter.Open(ctx, meter.Options{
		URL:  "nats://127.0.0.1:1", // the site's listener
		Node: "render-01",
		Dir:  filepath.Join(dir, "spool"),
	})
	if err != nil {
		panic(err)
	}
	if err := m.Record("render.pages", 12, meter.User("ana"), meter.Dim("format", "pdf")); err != nil {
		fmt.Println(err) // the spool is full, or the event is wrong
	}
	fmt.Println("recorded", m.Stats().Recorded, "counted", m.Stats().Counted)

	ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	fmt.Println(m.Close(ctx))
	// Output:
	// recorded 1 counted 0
	// <nil>
}

func ExampleMeter_Record() {
	m, err := meter.Open(context.Background(), meter.Options{Node: "render-01", URL: "nats://127.0.0.1:1", Durability: meter.Memory})
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Record("render.pages", -1))
	fmt.Println(m.Record("render.pages", 3, meter.Dim("1st", "x")))
	// Output:
	// bad_quantity: quantity "-1" is below zero
	// malformed: "1st" is not the name of a dimension
}
