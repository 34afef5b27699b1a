;; The heap of a runtime: `ext_allocator_malloc` and `ext_allocator_free`.
;;
;; A freeing bump allocator: sizes are rounded up to powers of two from 8 bytes (order 0) to 32 MiB
;; (order 22). Eight bytes in front of each block hold its header: while in use, the order and a 1;
;; while free, the next free block of that order and a 0. The runtime's own allocator writes the
;; last two bytes of the header, which are not used here.
;;
;; The heap begins with 23 heads of free lists, four bytes each and zero when empty, and the address
;; of its end. `allocator.py` works on the same.
;;
;; It is WebAssembly, as a call from the runtime into Python costs some fifteen microseconds and a
;; runtime allocates thousands of times in a call.
(module
  (import "env" "memory" (memory 0))
  (global $heads (export "heads") (mut i32) (i32.const 0))

  (func (export "malloc") (param $size i32) (result i32)
    (local $order i32) (local $head i32) (local $block i32) (local $end i64) (local $missing i64)
    (if (i32.gt_u (local.get $size) (i32.const 33554432)) (then (unreachable)))
    (if (i32.gt_u (local.get $size) (i32.const 8))
      (then (local.set $order
        (i32.sub (i32.const 29) (i32.clz (i32.sub (local.get $size) (i32.const 1)))))))
    (local.set $head
      (i32.add (global.get $heads) (i32.shl (local.get $order) (i32.const 2))))
    (local.set $block (i32.load (local.get $head)))
    (if (local.get $block)
      (then (i32.store (local.get $head) (i32.load (local.get $block))))
      (else
        (local.set $block (i32.load offset=92 (global.get $heads)))
        (local.set $end
          (i64.add
            (i64.extend_i32_u (i32.add (local.get $block) (i32.const 8)))
            (i64.shl (i64.const 8) (i64.extend_i32_u (local.get $order)))))
        (local.set $missing
          (i64.sub (local.get $end)
            (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
        (if (i64.gt_s (local.get $missing) (i64.const 0))
          (then
            (if (i32.eq (i32.const -1)
                  (memory.grow (i32.wrap_i64
                    (i64.shr_u (i64.add (local.get $missing) (i64.const 65535)) (i64.const 16)))))
              (then (unreachable)))))
        (i32.store offset=92 (global.get $heads) (i32.wrap_i64 (local.get $end)))))
    (i32.store (local.get $block) (local.get $order))
    (i32.store offset=4 (local.get $block) (i32.const 1))
    (i32.add (local.get $block) (i32.const 8)))

  (func (export "free") (param $pointer i32)
    (local $block i32) (local $order i32) (local $head i32)
    (local.set $block (i32.sub (local.get $pointer) (i32.const 8)))
    (local.set $order (i32.load (local.get $block)))
    (if (i32.or
          (i32.ne (i32.load8_u offset=4 (local.get $block)) (i32.const 1))
          (i32.gt_u (local.get $order) (i32.const 22)))
      (then (unreachable)))
    (local.set $head
      (i32.add (global.get $heads) (i32.shl (local.get $order) (i32.const 2))))
    (i32.store (local.get $block) (i32.load (local.get $head)))
    (i32.store offset=4 (local.get $block) (i32.const 0))
    (i32.store (local.get $head) (local.get $block))))
