//! Nothing: the programs are the binary, and an object for the kernel can be no dependency.
#![no_std]
