package ff1_test

import (
	"fmt"

	"github.com/cardlake/cardlake/tokenize/ff1"
)

func Example() {
	key := []byte("an AES-256 key of an example: 32")
	text, err := ff1.NewText(key, ff1.Base62, ff1.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	secret, err := text.Encrypt([]byte("orders"), "Order2026x11")
	if err != nil {
		fmt.Println(err)
		return
	}
	plain, err := text.Decrypt([]byte("orders"), secret)
	fmt.Println(len(secret), plain, err)

	_, err = text.Encrypt(nil, "not-in-the-alphabet")
	fmt.Println(err)
	// Output:
	// 12 Order2026x11 <nil>
	// ff1: symbol outside the alphabet
}

func ExampleCipher_Decimal() {
	cipher, err := ff1.New([]byte("an AES-128 key16"), 10, ff1.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	decimal, err := cipher.Decimal([]byte("tenant"), 16)
	if err != nil {
		fmt.Println(err)
		return
	}
	digits := []byte("4111111111111111")
	if err := decimal.Encrypt(digits); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(digits), string(digits) != "4111111111111111")
	fmt.Println(decimal.Decrypt(digits), string(digits))
	// Output:
	// 16 true
	// <nil> 4111111111111111
}
