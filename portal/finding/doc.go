// Package finding looks for what is odd in accepted usage: a sudden drop, a
// plateau, use that ends just under a limit, a week that lost its shape, a node
// that fell silent, more nodes than licensed, a clock that runs ahead.
//
// The guarantee: every function is pure, so the same days give the same findings,
// and each finding carries what was seen, what was expected and within which band,
// so that a chart can show why it is one.
//
// The limit: a finding is evidence for a conversation, never a verdict. A holiday,
// a new shift or a slow courier looks like this too.
//
// Methods are robust ones: a few strange days before must not hide the next.
// Location and spread are the median and the scaled median absolute deviation
// (Rousseeuw and Croux 1993, "Alternatives to the Median Absolute Deviation"; Leys
// et al. 2013, "Detecting outliers: Do not use standard deviation around the mean,
// use absolute deviation around the median"). Seasons are taken out by comparing a
// day with the same weekday only, the residuals then by median and MAD, as Seasonal
// Hybrid ESD does (Hochenbaum, Vallis, Kejariwal 2017, "Automatic Anomaly Detection
// in the Cloud Via Statistical Learning"). Use that gathers just under a limit is
// what the literature calls bunching (Kleven 2016, "Bunching"). The shapes of weeks
// are compared by total variation distance.
package finding
