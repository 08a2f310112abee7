// SPDX-License-Identifier: GPL-2.0
/*
 * ivshmem_uio: QEMU's inter-VM shared memory (PCI 1af4:1110) for user space.
 *
 * One UIO device for each MSI-X vector, named ivshmem_uio.V: read() blocks
 * until the vector's interrupts are more than those read before, and returns
 * their number. Vector 0's device maps BAR0 (the registers, uncached) as map 0
 * and BAR2 (the shared memory, write-back cacheable) as map 1. A device
 * without MSI-X (ivshmem-plain) has one UIO device, without interrupt.
 *
 * BAR2 is the host's memory and no device's, yet neither the usual ways to map
 * a BAR nor x86's bookkeeping of memory types give it write-back: UIO's own
 * physical maps are uncached, sysfs offers uncached and write-combining, and a
 * pfn mapping that asks for write-back is demoted to uncached-minus where
 * firmware has the MTRRs of the PCI hole say uncached, as SeaBIOS does. KVM
 * applies no guest's MTRRs to such memory, but may apply the page tables' type
 * (always on AMD), and reading is then 10 to 100 times slower. So BAR2 gets
 * struct pages (memremap_pages) and is mapped like memory, with the type of
 * memory: UIO_MEM_LOGICAL would do so, too, but those mappings outlive the
 * pages. The kernel's own mapping of the pages keeps the MTRRs' type, and that
 * is what debugfs' pat_memtype_list shows; nothing accesses it. A BAR that can
 * have no pages (below 2 MiB, or too large for what its struct pages take) is
 * mapped by pfn with the best type to be had; shared_memory_pages in the PCI
 * device's directory says which (1 pages, 0 pfn).
 *
 * Pages end with the binding, and mappings may not outlive them: unbinding
 * takes all mappings back, and waits for I/O that still uses a page. Who then
 * touches a mapping gets SIGBUS, and read() fails with EIO. The module cannot
 * be unloaded while a device is open.
 */

#include <linux/delay.h>
#include <linux/io.h>
#include <linux/kref.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/uio_driver.h>
#include <linux/version.h>

#define REGISTERS_BAR	0
#define MEMORY_BAR	2
#define REGISTERS_MAP	0
#define MEMORY_MAP	1

/* What one fault maps at most: a page table full. */
#define FAULT_BYTES	PMD_SIZE

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

static unsigned int vectors;
module_param(vectors, uint, 0444);
MODULE_PARM_DESC(vectors, "interrupt vectors to use, 0 = all the device has");

/* BAR2 and who maps it; outlives the binding until the last mapping is gone. */
struct ivshmem_memory {
	struct kref refs;
	bool has_pages;
	int idle_page_count;
	struct dev_pagemap pgmap;
	/* Protects what follows; taken below mmap_lock, above a file's i_mmap. */
	struct rw_semaphore lock;
	bool is_gone;
	unsigned int vmas;
	/* Where to find them; of all files that map, there is one at a time. */
	struct address_space *mapping;
};

struct ivshmem_vector {
	struct uio_info info;
	char name[sizeof("ivshmem_uio.") + 10];
};

struct ivshmem_uio {
	struct pci_dev *pdev;
	struct ivshmem_memory *memory;
	unsigned int registered;
	struct ivshmem_vector vectors[];
};

static void memory_free(struct kref *refs)
{
	kfree(container_of(refs, struct ivshmem_memory, refs));
}

static struct ivshmem_memory *memory_create(struct pci_dev *pdev)
{
	struct resource *bar = &pdev->resource[MEMORY_BAR];
	unsigned long align = memremap_compat_align();
	struct ivshmem_memory *memory;
	long err = -EINVAL;

	memory = kzalloc(sizeof(*memory), GFP_KERNEL);
	if (!memory)
		return NULL;
	kref_init(&memory->refs);
	init_rwsem(&memory->lock);
	memory->pgmap.type = MEMORY_DEVICE_GENERIC;
	memory->pgmap.range.start = bar->start;
	memory->pgmap.range.end = bar->end;
	memory->pgmap.nr_range = 1;
	/* memremap_pages() warns of others with a stack trace. */
	if (IS_ALIGNED(bar->start, align) && IS_ALIGNED(resource_size(bar), align))
		err = PTR_ERR_OR_ZERO(memremap_pages(&memory->pgmap, dev_to_node(&pdev->dev)));
	memory->has_pages = !err;
	if (!err)
		memory->idle_page_count = page_count(pfn_to_page(PHYS_PFN(bar->start)));
	else
		pci_info(pdev, "no pages for %pR (%ld): its mappings may be uncached\n", bar, err);
	return memory;
}

/* I/O from or to a page (O_DIRECT, vmsplice) may go on without its mapping. */
static void memory_wait_for_io(struct ivshmem_memory *memory)
{
	unsigned long pfn = PHYS_PFN(memory->pgmap.range.start);
	unsigned long last = PHYS_PFN(memory->pgmap.range.end);

	for (; pfn <= last; pfn++) {
		while (page_count(pfn_to_page(pfn)) > memory->idle_page_count)
			msleep(20);
		cond_resched();
	}
}

/* Takes back what user space has mapped, then the pages. */
static void memory_destroy(struct ivshmem_memory *memory)
{
	down_write(&memory->lock);
	memory->is_gone = true;
	/* From the first byte, no length: all of the file. */
	if (memory->vmas)
		unmap_mapping_range(memory->mapping, 0, 0, 1);
	up_write(&memory->lock);
	if (memory->has_pages) {
		memory_wait_for_io(memory);
		memunmap_pages(&memory->pgmap);
	}
	kref_put(&memory->refs, memory_free);
}

static void ivshmem_vma_open(struct vm_area_struct *vma)
{
	struct ivshmem_memory *memory = vma->vm_private_data;

	kref_get(&memory->refs);
	down_write(&memory->lock);
	memory->vmas++;
	up_write(&memory->lock);
}

static void ivshmem_vma_close(struct vm_area_struct *vma)
{
	struct ivshmem_memory *memory = vma->vm_private_data;

	down_write(&memory->lock);
	memory->vmas--;
	up_write(&memory->lock);
	kref_put(&memory->refs, memory_free);
}

/*
 * Pages are mapped by faults and not by mmap(): after the latter the kernel
 * links the mapping to its file, and before that memory_destroy() would miss it.
 */
static vm_fault_t ivshmem_vma_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct ivshmem_memory *memory = vma->vm_private_data;
	unsigned long first = PHYS_PFN(memory->pgmap.range.start);
	unsigned long window = ALIGN_DOWN(vmf->address, FAULT_BYTES);
	unsigned long address = max(window, vma->vm_start);
	unsigned long end = min(window + FAULT_BYTES, vma->vm_end);
	vm_fault_t ret = VM_FAULT_NOPAGE;

	down_read(&memory->lock);
	/* A pfn mapping is whole from the start, and faults only once taken back. */
	if (memory->is_gone || vma->vm_flags & VM_PFNMAP)
		ret = VM_FAULT_SIGBUS;
	for (; ret == VM_FAULT_NOPAGE && address < end; address += PAGE_SIZE) {
		unsigned long index = linear_page_index(vma, address) - MEMORY_MAP;
		int err = vm_insert_page(vma, address, pfn_to_page(first + index));

		/* Another thread's fault may have been quicker. */
		if (err && err != -EBUSY)
			ret = vmf_error(err);
	}
	up_read(&memory->lock);
	return ret;
}

static const struct vm_operations_struct ivshmem_vm_ops = {
	.open = ivshmem_vma_open,
	.close = ivshmem_vma_close,
	.fault = ivshmem_vma_fault,
};

static int ivshmem_map_pages(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}

static int ivshmem_map_pfns(struct vm_area_struct *vma, phys_addr_t start)
{
	return io_remap_pfn_range(vma, vma->vm_start, PHYS_PFN(start),
				  vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

/* UIO has checked which map and how much of it, and keeps the device bound. */
static int ivshmem_mmap(struct uio_info *info, struct vm_area_struct *vma)
{
	struct ivshmem_memory *memory = info->priv;
	int err;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	down_write(&memory->lock);
	if (memory->vmas && memory->mapping != vma->vm_file->f_mapping) {
		/* Another device node: unbinding would not find its mappings. */
		err = -EBUSY;
	} else if (vma->vm_pgoff == REGISTERS_MAP) {
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
		err = ivshmem_map_pfns(vma, info->mem[REGISTERS_MAP].addr);
	} else if (memory->has_pages) {
		err = ivshmem_map_pages(vma);
	} else {
		err = ivshmem_map_pfns(vma, info->mem[MEMORY_MAP].addr);
	}
	if (!err) {
		kref_get(&memory->refs);
		memory->mapping = vma->vm_file->f_mapping;
		memory->vmas++;
		vma->vm_private_data = memory;
		vma->vm_ops = &ivshmem_vm_ops;
	}
	up_write(&memory->lock);
	return err;
}

static irqreturn_t ivshmem_interrupt(int irq, struct uio_info *info)
{
	/* An MSI-X vector is nobody else's, and has nothing to acknowledge. */
	return IRQ_HANDLED;
}

static void ivshmem_describe_map(struct uio_mem *mem, const char *name, struct resource *bar)
{
	mem->name = name;
	mem->memtype = UIO_MEM_PHYS;
	mem->addr = bar->start & PAGE_MASK;
	mem->offs = bar->start & ~PAGE_MASK;
	mem->size = PAGE_ALIGN(mem->offs + resource_size(bar));
}

static void ivshmem_unregister(struct ivshmem_uio *ivshmem)
{
	while (ivshmem->registered) {
		ivshmem->registered--;
		uio_unregister_device(&ivshmem->vectors[ivshmem->registered].info);
	}
}

static int ivshmem_register(struct ivshmem_uio *ivshmem, unsigned int count)
{
	struct pci_dev *pdev = ivshmem->pdev;

	for (unsigned int v = 0; v < count; v++) {
		struct ivshmem_vector *vector = &ivshmem->vectors[v];
		struct uio_info *info = &vector->info;
		int err;

		snprintf(vector->name, sizeof(vector->name), "ivshmem_uio.%u", v);
		info->name = vector->name;
		info->version = "1";
		info->irq = UIO_IRQ_NONE;
		if (pdev->msix_enabled) {
			info->irq = pci_irq_vector(pdev, v);
			info->handler = ivshmem_interrupt;
		}
		if (v == 0) {
			struct resource *bars = pdev->resource;

			ivshmem_describe_map(&info->mem[REGISTERS_MAP], "registers", &bars[REGISTERS_BAR]);
			ivshmem_describe_map(&info->mem[MEMORY_MAP], "shared_memory", &bars[MEMORY_BAR]);
			info->priv = ivshmem->memory;
			info->mmap = ivshmem_mmap;
		}
		err = uio_register_device(&pdev->dev, info);
		if (err) {
			ivshmem_unregister(ivshmem);
			return dev_err_probe(&pdev->dev, err, "UIO device of vector %u\n", v);
		}
		ivshmem->registered++;
	}
	return 0;
}

/* How many UIO devices there will be: one for each vector, and one without. */
static int ivshmem_allocate_vectors(struct pci_dev *pdev)
{
	int count = pci_msix_vec_count(pdev);

	if (count < 0)
		return 1;
	if (vectors)
		count = min_t(unsigned int, count, vectors);
	return pci_alloc_irq_vectors(pdev, 1, count, PCI_IRQ_MSIX);
}

static int ivshmem_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ivshmem_uio *ivshmem;
	int count, err;

	if (!pci_resource_len(pdev, REGISTERS_BAR) || !pci_resource_len(pdev, MEMORY_BAR))
		return dev_err_probe(&pdev->dev, -ENODEV, "BAR0 or BAR2 is absent\n");
	err = pci_enable_device(pdev);
	if (err)
		return dev_err_probe(&pdev->dev, err, "enabling the device\n");
	err = pci_request_regions(pdev, KBUILD_MODNAME);
	if (err)
		goto disable;
	/* Without it the device sends no interrupts. */
	pci_set_master(pdev);
	count = ivshmem_allocate_vectors(pdev);
	if (count < 0) {
		err = dev_err_probe(&pdev->dev, count, "allocating MSI-X vectors\n");
		goto release_regions;
	}
	err = -ENOMEM;
	ivshmem = kzalloc(struct_size(ivshmem, vectors, count), GFP_KERNEL);
	if (!ivshmem)
		goto free_vectors;
	ivshmem->pdev = pdev;
	ivshmem->memory = memory_create(pdev);
	if (!ivshmem->memory)
		goto free_ivshmem;
	err = ivshmem_register(ivshmem, count);
	if (err)
		goto destroy_memory;
	pci_set_drvdata(pdev, ivshmem);
	pci_info(pdev, "%d UIO device(s) %s interrupts, shared memory mapped by %s\n", count,
		 pdev->msix_enabled ? "with" : "without",
		 ivshmem->memory->has_pages ? "page" : "pfn");
	return 0;

destroy_memory:
	memory_destroy(ivshmem->memory);
free_ivshmem:
	kfree(ivshmem);
free_vectors:
	pci_free_irq_vectors(pdev);
release_regions:
	pci_release_regions(pdev);
disable:
	pci_disable_device(pdev);
	return err;
}

static void ivshmem_remove(struct pci_dev *pdev)
{
	struct ivshmem_uio *ivshmem = pci_get_drvdata(pdev);

	/* From here on UIO lets nobody map or wait any more. */
	ivshmem_unregister(ivshmem);
	memory_destroy(ivshmem->memory);
	kfree(ivshmem);
	pci_free_irq_vectors(pdev);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

static ssize_t shared_memory_pages_show(struct device *dev, struct device_attribute *attr,
					char *buf)
{
	struct ivshmem_uio *ivshmem = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%d\n", ivshmem->memory->has_pages);
}
static DEVICE_ATTR_RO(shared_memory_pages);

static struct attribute *ivshmem_attrs[] = {
	&dev_attr_shared_memory_pages.attr,
	NULL
};
ATTRIBUTE_GROUPS(ivshmem);

static const struct pci_device_id ivshmem_ids[] = {
	{ PCI_DEVICE(0x1af4, 0x1110) },
	{ }
};
MODULE_DEVICE_TABLE(pci, ivshmem_ids);

static struct pci_driver ivshmem_driver = {
	.name = KBUILD_MODNAME,
	.id_table = ivshmem_ids,
	.probe = ivshmem_probe,
	.remove = ivshmem_remove,
	.dev_groups = ivshmem_groups,
};
module_pci_driver(ivshmem_driver);

MODULE_DESCRIPTION("QEMU's inter-VM shared memory and its doorbells for user space");
MODULE_LICENSE("GPL");
