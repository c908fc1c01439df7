/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that depends on the kernel's version. The rest is written for the newest kernel;
 * this re-creates what older ones lack.
 */
#ifndef CASCADE_COMPAT_H
#define CASCADE_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "dm-cascade needs Linux 6.1 or later"
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}

static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

/* How a device is opened. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define blk_mode_t fmode_t
#endif

/* What the discard limit of a queue is called. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define cascade_max_discard(limits) ((limits)->max_discard_sectors)
#else
#define cascade_max_discard(limits) ((limits)->max_hw_discard_sectors)
#endif

/* Zeroing that unmaps has a limit of its own, which must be that of zeroing, or 0. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#define cascade_limit_unmap(limits, sectors) do { } while (0)
#else
#define cascade_limit_unmap(limits, sectors)				\
	((limits)->max_hw_wzeroes_unmap_sectors =			\
		(limits)->max_hw_wzeroes_unmap_sectors ? (sectors) : 0)
#endif

/* Newer kernels want to be told what was meant where nothing was said. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define WQ_PERCPU 0
#endif

#endif /* CASCADE_COMPAT_H */
