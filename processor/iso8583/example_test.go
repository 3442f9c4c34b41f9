package iso8583_test

import (
	"fmt"

	"github.com/cardlake/cardlake/processor/iso8583"
)

// An echo test is packed, framed on its way, and read without being copied.
func Example() {
	var b iso8583.Builder
	b.SetText(0, iso8583.NetworkManagementRequest)
	b.SetText(7, "0310120000")
	b.SetText(11, "000001")
	b.SetText(70, iso8583.EchoTest)
	msg, err := b.Append(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var v iso8583.View
	if err := v.Parse(msg); err != nil {
		fmt.Println(err)
		return
	}
	answer, _ := iso8583.ResponseTo(v.MTI())
	fmt.Printf("%s\n%s with trace number %s, answered by %s\n", msg, v.MTI(), v.Bytes(11), answer)
	v.Wipe()
	// Output:
	// 0800822000000000000004000000000000000310120000000001301
	// 0800 with trace number 000001, answered by 0810
}
