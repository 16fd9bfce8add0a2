package doctest

// setups are what is there before a page begins, as commands that are typed
// first. What they print is not compared.
var setups = map[string][]string{
	"": nil,
	// A site that evaluates and has counted something.
	"site": {
		"meterseal serve --site-name north --meter render.pages:sum:0:page --meter documents.processed:count --seats editor:5",
		"meterseal send render.pages 12 --node n1 --id job-1",
		"meterseal send documents.processed --node n1 --id job-2",
	},
	// The files that a site in the field has: a report, and the vendor's reply.
	"vendor": {
		"meterseal-vendor init --data V --domain vendor.example",
		"meterseal-vendor license issue --data V --customer Acme --solution renderd --type time-limited --meter render.pages:sum:0:page --expires 2099-12-31 --report-every monthly --key-out acme.key",
	},
	// A vendor, and a site with an active license of his that has sent its first
	// report and goes on.
	"licensed": {
		"meterseal-vendor init --data V --domain vendor.example",
		"meterseal-vendor license issue --data V --customer Acme --solution renderd --type time-limited --meter render.pages:sum:0:page --expires 2099-12-31 --report-every monthly --key-out acme.key",
		"meterseal serve --site-name north --data S --license-key-file acme.key --solution-name renderd",
		"meterseal send render.pages 12 --node n1 --id job-1",
		"meterseal report export --close-now --out first.usage",
		"meterseal-vendor accept --data V --out replies first.usage",
		"meterseal import replies/first.reply",
		"meterseal send render.pages 30 --node n1 --id job-2",
	},
	// A licensed site whose meter may be corrected, with a session loaded by hand.
	"api": {
		"meterseal-vendor init --data V --domain vendor.example",
		"meterseal-vendor license issue --data V --customer Acme --solution renderd --type time-limited --meter render.pages:sum:0:page:yes --limit render.pages=5000:none:monthly --seats editor:5 --expires 2099-12-31 --report-every monthly --key-out acme.key",
		"cat > meterseal.yaml <<'EOF'\nmeters:\n  - {id: render.pages, aggregation: sum, unit: page, corrections: true}\nEOF",
		"meterseal serve --config meterseal.yaml --data S --license-key-file acme.key --solution-name renderd",
		"meterseal send render.pages 10 --node n1 --id a1 --session july-logs",
		"meterseal send render.pages 20 --node n1 --id a2 --session july-logs",
		"meterseal send render.pages 15 --node n1 --amend a2 --reason wrong --actor kim",
		"meterseal report export --close-now --out first.usage",
		"meterseal-vendor accept --data V --out replies first.usage",
		"meterseal import replies/first.reply",
	},
	// The portal with a login for programs, and a report to send it.
	"portal": {
		"meterseal-vendor init --data V --domain vendor.example",
		"meterseal-vendor license issue --data V --customer Acme --solution renderd --type time-limited --meter render.pages:sum:0:page --expires 2099-12-31 --report-every monthly --key-out acme.key --allow-offline",
		"meterseal serve --data S --license-key-file acme.key --solution-name renderd",
		"meterseal send render.pages 12 --node n1 --id job-1",
		"meterseal report export --close-now --out site.usage",
		"meterseal-vendor user add kim@acme.example --role customer --customer Acme --data V",
		"TOKEN=$(meterseal-vendor token add kim@acme.example --name nightly --scope upload --data V | grep -o 'ms_[A-Za-z0-9_-]*')",
		"meterseal-vendor serve --data V",
		"PORTAL=http://127.0.0.1:8090",
	},
	// A licensed site that no file has left yet, whose license may be activated by
	// codes; and a report, for pictures.
	"codes": {
		"meterseal-vendor init --data V --domain vendor.example",
		"meterseal-vendor license issue --data V --id L-1 --customer Acme --solution renderd --type time-limited --meter render.pages:sum:0:page --expires 2099-12-31 --report-every monthly --codes --key-out acme.key",
		"meterseal serve --data S --license-key-file acme.key --solution-name renderd",
		"meterseal send render.pages 12 --node n1 --id job-1",
		"meterseal report export --close-now --out site.usage",
	},
	// A site that feeds a meter from CloudEvents.
	"openmeter": {
		"cat > meterseal.yaml <<'EOF'\nmeters:\n  - {id: tokens, event_type: prompt, aggregation: sum, value: $.tokens, dimensions: {model: $.model}}\nEOF",
		"meterseal serve --config meterseal.yaml",
	},
	// A data directory at rest.
	"stopped": {
		"meterseal serve --meter render.pages:sum:0:page",
		"meterseal send render.pages 12 --node n1 --id job-1",
		"meterseal report export --close-now --out site.usage",
		"^C",
	},
	// The repository, as far as its examples are used from their own folder.
	"repository": {
		`ln -s "$REPOSITORY"/examples "$REPOSITORY"/docs "$REPOSITORY"/bench .`,
	},
}
