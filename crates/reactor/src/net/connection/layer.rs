//! TLS between the driver's bytes and the buffers of a connection: what is read and written stays
//! what it is, whoever waits for it and however they leave.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use thence_core::{Failure, Trigger};

use super::{
    Connection, end,
    reading::{End, Reading},
};
use crate::{
    driver::{Buffers, Key},
    hub::Due,
    net::{
        Transport,
        outbound::{Broken, Finishing, Outbound},
        tls::{Engine, TlsStream},
    },
    time::later,
};

/// One end of TLS, and whoever waits for its handshake.
pub(super) struct Layer {
    engine: RefCell<Engine>,
    handshake: RefCell<Option<Trigger<TlsStream>>>,
    /// Why TLS has ended. The alert that tells the other end goes out all the same.
    failed: OnceCell<Broken>,
    lingering: Cell<Lingering>,
}

/// How far a connection is that nobody has any more.
#[derive(Default, Clone, Copy)]
enum Lingering {
    /// Somebody has it.
    #[default]
    No,
    /// What was written goes out: `Waits` after that, `Over` when the other end is first.
    Sends,
    /// The other end may say its own end, until this timer.
    Waits(Key),
    /// It closes.
    Over,
}

impl Connection {
    /// Speaks TLS from here on, and fires `trigger` when both ends have agreed. Cancelled or left
    /// before, the connection is broken.
    pub(in crate::net) fn secure(self: &Rc<Self>, engine: Engine, trigger: Trigger<TlsStream>) {
        if let Err(error) = self.may_begin() {
            trigger.fail(Failure::from(error));
            return;
        }
        let give_up = || {
            let this = self.this.clone();
            move || this.upgrade().into_iter().for_each(|this| this.give_up())
        };
        trigger.on_cancel(give_up());
        trigger.on_left(give_up());
        let layer = self.layer.get_or_init(|| {
            Box::new(Layer {
                engine: RefCell::new(engine),
                handshake: RefCell::new(Some(trigger)),
                failed: OnceCell::new(),
                lingering: Cell::default(),
            })
        });
        let mut reading = self.reading.borrow_mut();
        let finished = reading.end.take_if(|end| matches!(end, End::Finished)).is_some();
        for piece in reading.inbound.begin_anew() {
            layer.hear(&mut reading, &piece);
        }
        if finished {
            layer.hear(&mut reading, &[]);
        }
        drop(reading);
        self.after_hearing();
        self.serve();
    }

    /// What has to be done when something was heard: answer it, and end a handshake that is over.
    pub(super) fn after_hearing(self: &Rc<Self>) {
        let Some(layer) = self.layer.get() else { return };
        let reading = self.reading.borrow();
        if reading.end.is_some() || reading.inbound.len() > 0 {
            self.stop_lingering();
        }
        drop(reading);
        let engine = layer.engine.borrow();
        if engine.has_ciphertext() || layer.failed.get().is_some() {
            self.flush_soon();
        }
        let is_over = match &self.reading.borrow().end {
            _ if !engine.is_handshaking() => Ok(()),
            Some(End::Broken(broken)) => Err(broken.error()),
            Some(End::Finished) | None => return,
        };
        let with = engine.peer();
        drop(engine);
        let Some(trigger) = layer.handshake.take() else { return };
        match is_over {
            Ok(()) => trigger.fire(TlsStream::new(Transport::over(self.clone()))),
            Err(error) => {
                trigger.fail(Failure::from(error).context(format!("TLS handshake with {with}")));
            }
        }
    }

    /// Whether something has to be heard though nobody reads.
    pub(super) fn listens(&self) -> bool {
        self.layer.get().is_some_and(|layer| {
            layer.handshake.borrow().is_some()
                || matches!(layer.lingering.get(), Lingering::Sends | Lingering::Waits(_))
        })
    }

    /// Nobody has the stream any more, nor waits for a read, and what comes is not read. But TLS has
    /// more to say than what is read: a server's tickets, the other's close_notify. Closed while
    /// that is unread or on its way, the connection is reset, and what was written and has not
    /// arrived is lost. So this end says that it sends no more, and then listens for a while until
    /// the other says so too. Says whether it does.
    pub(super) fn linger(self: &Rc<Self>) -> bool {
        let Some(layer) = self.layer.get() else { return false };
        match layer.lingering.get() {
            Lingering::Sends | Lingering::Waits(_) => return true,
            Lingering::Over => return false,
            Lingering::No => {}
        }
        if layer.engine.borrow().is_handshaking() || self.reading.borrow().end.is_some() {
            return false;
        }
        layer.lingering.set(Lingering::Sends);
        drop(self.reading.borrow_mut().inbound.begin_anew());
        let mut writing = self.writing.borrow_mut();
        if writing.finishing == Finishing::No {
            writing.finishing = Finishing::Cut;
        }
        drop(writing);
        self.flush_soon();
        self.want_more();
        true
    }

    /// Everything was sent, or cannot be.
    pub(super) fn after_sending(&self) {
        let Some(layer) = self.layer.get() else { return };
        if !matches!(layer.lingering.get(), Lingering::Sends) {
            return;
        }
        let this = self.this.clone();
        let timer = self.hub.at(later(self.hub.now(), LINGER), |_| {
            Due::Call(Box::new(move || {
                let Some(this) = this.upgrade() else { return };
                this.stop_lingering();
                this.let_reads_go();
            }))
        });
        layer.lingering.set(Lingering::Waits(timer));
        // The run waits for it.
        self.hub.unsent.set(self.hub.unsent.get() + 1);
    }

    fn stop_lingering(&self) {
        let Some(layer) = self.layer.get() else { return };
        match layer.lingering.get() {
            Lingering::No | Lingering::Over => return,
            Lingering::Sends => {}
            Lingering::Waits(timer) => {
                self.hub.cancel_timer(timer);
                self.hub.unsent.set(self.hub.unsent.get() - 1);
            }
        }
        layer.lingering.set(Lingering::Over);
    }

    /// What goes out next, as the driver is to send it.
    pub(super) fn next_batch(&self) -> io::Result<Option<Buffers>> {
        let Some(layer) = self.layer.get() else { return Ok(self.change(Outbound::take_batch)) };
        let mut engine = layer.engine.borrow_mut();
        let mut any = false;
        if layer.failed.get().is_none() {
            let mut batch = self.change(Outbound::take_batch).inspect(|_| any = true);
            while let Some(buffers) = batch.as_mut().filter(|buffers| !buffers.is_empty()) {
                let len = buffers.first().len();
                engine.outgoing(buffers.first())?;
                buffers.advance(len);
            }
            let writing = self.writing.borrow();
            if writing.finishing == Finishing::Asked && writing.is_settled() {
                engine.close_notify();
            }
        }
        let ciphertext = engine.take_ciphertext();
        if ciphertext.is_empty() && !any {
            return Ok(None);
        }
        self.change(|writing| writing.sealed(ciphertext.len()));
        Ok(Some(ciphertext.into()))
    }

    /// Why nothing can be written, though the socket is well.
    pub(super) fn layer_failure(&self) -> Option<Broken> {
        self.layer.get()?.failed.get().cloned()
    }

    /// Asks the layer's engine; `None` without one.
    pub(in crate::net) fn ask_engine<R>(&self, f: impl FnOnce(&Engine) -> R) -> Option<R> {
        self.layer.get().map(|layer| f(&layer.engine.borrow()))
    }

    pub(super) fn take_handshake(&self) -> Option<Trigger<TlsStream>> {
        self.layer.get()?.handshake.take()
    }

    /// Nobody waits for the handshake any more.
    fn give_up(self: &Rc<Self>) {
        let Some(trigger) = self.take_handshake() else { return };
        self.abort();
        end([trigger]);
    }

    fn may_begin(&self) -> io::Result<()> {
        let text = if self.layer.get().is_some() {
            "this connection speaks TLS already, and there is none inside of TLS"
        } else if !self.writing.borrow().is_idle() {
            "something was written and has not left: wait for the write before TLS begins"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

impl Layer {
    /// Takes what the driver has received; nothing is the end of the stream.
    pub(super) fn hear(&self, reading: &mut Reading, ciphertext: &[u8]) {
        let mut engine = self.engine.borrow_mut();
        if ciphertext.is_empty() {
            let end = match engine.end_of_input() {
                Ok(()) => End::Finished,
                Err(error) => End::Broken(Broken::new(&error)),
            };
            reading.end.get_or_insert(end);
            return;
        }
        let mut plaintext = BytesMut::with_capacity(ciphertext.len());
        let heard = engine.incoming(ciphertext, &mut plaintext);
        if !plaintext.is_empty() {
            reading.inbound.push(plaintext.freeze());
        }
        match heard {
            Ok(()) if engine.peer_has_closed() => {
                reading.end.get_or_insert(End::Finished);
            }
            Ok(()) => {}
            Err(error) => {
                let broken = Broken::new(&error);
                reading.end.get_or_insert(End::Broken(broken.clone()));
                self.failed.get_or_init(|| broken);
            }
        }
    }
}

/// How long the other end has to say its end when nobody has this one any more.
const LINGER: Duration = Duration::from_secs(1);
