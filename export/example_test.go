package export_test

import (
	"fmt"
	"os"

	"github.com/meterseal/meterseal/export"
)

// An auditor has a report, the site's public key, and the key with which the
// vendor signs receipts. Nothing else is needed: no network, no trust in the
// sender.
func ExampleVerifyReport() {
	file, err := os.Open("../docs/formats/vectors/b.usage")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	report, err := export.VerifyReport(file, export.VerifyOptions{
		SiteKeys:    []string{"meter.example/L-2026-417/djgmytemdzhefh052d8e+4e509ea8+AVoGGELQnSq2jeUu+Sj5mWKFHu7b49w2V5CRd/EglBJ1"},
		ReceiptKeys: []string{"meter.example/receipt/2026+4809bea9+BOArr6WfB9CFvjHUEXUPSGE5Dzl+L6s6Vjy+EM9k7Kdp"},
	})
	if err != nil {
		fmt.Println(err) // the file is damaged or was edited; it says nothing about the site
		return
	}
	fmt.Println(report.Verdict, report.BaseSize, report.Size, report.BaseProvenBy)
	for _, t := range report.Totals {
		fmt.Println(t.Meter, t.Count, t.Value)
	}
	for _, a := range report.Accounts {
		fmt.Println(a.Node, a.Accepted, "=", a.Counted, "+", a.Duplicate)
	}
	// Output:
	// ok 5 17 receipt
	// render.pages 3 20
	// node-01 3 = 2 + 1
	// node-02 1 = 1 + 0
	// node-03 0 = 0 + 0
}

// The same file after somebody took a page off one record.
func ExampleVerifyReport_edited() {
	file, err := os.Open("../docs/formats/vectors/report-record-edited.usage")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	report, err := export.VerifyReport(file, export.VerifyOptions{TrustFile: true})
	if err := export.WriteVerified(os.Stdout, report, err); err != nil {
		fmt.Println(err)
	}
	// Output:
	// signature  -    signed by the key in the file, 4e509ea8; nobody vouches for it
	// base       -    size 5 is signed by the site; no receipt was compared
	// records    bad  the records do not give the signed root: the file was damaged or
	//            edited; the first record that does not fit: meter render.pages:
	//            stated 20, the records give 19 (record 15)
}
