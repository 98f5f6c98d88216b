// Command shop is the demo.
package main

func main() {}
