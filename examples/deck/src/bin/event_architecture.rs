//! Slide "Event Architectures": when A happens, do B (work) and fire the events C, D and E.
//!
//! A is `OrderPlaced`. The warehouse does the work and fires three others. No part names another part;
//! all they have in common is the module of events.

mod event {
    pub(crate) struct OrderPlaced {
        pub(crate) item: &'static str,
        pub(crate) count: u32,
    }

    pub(crate) struct GoodsPacked {
        pub(crate) parcel: String,
    }

    pub(crate) struct InvoiceDue {
        pub(crate) cents: u32,
    }

    pub(crate) struct StockLow {
        pub(crate) item: &'static str,
        pub(crate) left: u32,
    }
}

mod warehouse {
    use super::event::{GoodsPacked, InvoiceDue, OrderPlaced, StockLow};
    use std::cell::Cell;
    use thence::prelude::*;

    pub(crate) fn open(stock: u32) {
        let stock = Cell::new(stock);
        on(move |order: &OrderPlaced| {
            let left = stock.get() - order.count;
            stock.set(left);
            println!("warehouse: {} x {} off the shelf", order.count, order.item);

            emit(GoodsPacked { parcel: format!("{} x {}", order.count, order.item) });
            emit(InvoiceDue { cents: order.count * 250 });
            emit(StockLow { item: order.item, left });
            println!("warehouse: done");
        });
    }
}

mod shipping {
    use super::event::GoodsPacked;
    use thence::prelude::*;

    pub(crate) fn open() {
        on(|goods: &GoodsPacked| println!("shipping: sends {}", goods.parcel));
    }
}

mod billing {
    use super::event::InvoiceDue;
    use thence::prelude::*;

    pub(crate) fn open() {
        on(|due: &InvoiceDue| println!("billing: asks for {} cents", due.cents));
    }
}

mod purchasing {
    use super::event::StockLow;
    use thence::prelude::*;

    pub(crate) fn open() {
        on(|low: &StockLow| println!("purchasing: {} left of {}, orders more", low.left, low.item));
    }
}

fn main() {
    warehouse::open(4);
    shipping::open();
    billing::open();
    purchasing::open();

    thence::emit(event::OrderPlaced { item: "bell", count: 3 });
}
