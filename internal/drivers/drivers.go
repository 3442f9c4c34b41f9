// Package drivers proves that the drivers people use connect to the lake, and read what they are
// permitted and nothing else. Its tests serve both doors over TLS and run the Python of
// docs/python.md, whose output they compare with the page, and the Flight SQL JDBC driver. They
// need Python and Java, and run when CARDLAKE_REAL is 1.
package drivers
